output "instance_id" {
  description = "Id of the instance."
  value       = aws_instance.this.id
}

output "private_ip" {
  description = "Its private IPv4 address."
  value       = aws_instance.this.private_ip
}

output "public_ip" {
  description = "Its public IPv4 address."
  value       = aws_instance.this.public_ip
}
