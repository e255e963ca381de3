output "cloud_config" {
  description = "The cloud-init document as text."
  value       = "#cloud-config\n${yamlencode(local.cloud_config)}"
}

output "user_data_base64" {
  description = "The same compressed and encoded; EC2 takes 16 KiB before encoding, 21,848 characters after."
  value       = base64gzip("#cloud-config\n${yamlencode(local.cloud_config)}")

  precondition {
    condition     = length(base64gzip("#cloud-config\n${yamlencode(local.cloud_config)}")) <= 21848
    error_message = "The user data is larger than EC2 takes; shorten experiment.yaml."
  }
}
