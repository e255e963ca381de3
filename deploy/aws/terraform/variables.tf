# --- Experiment ----------------------------------------------------------------------------------

variable "experiment_file" {
  description = "Path of experiment.yaml, relative to this folder."
  type        = string
  default     = "../../../experiment.yaml"
  nullable    = false

  validation {
    condition     = can(yamldecode(file(var.experiment_file)).regions)
    error_message = "experiment_file must name a readable YAML file that has a `regions` key."
  }
}

variable "experiment_id" {
  description = "Name of the sweep; value of the Experiment tag and of the experiment label."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$", var.experiment_id))
    error_message = "experiment_id must be 1 to 63 letters, digits, dots, dashes or underscores and begin with a letter or digit."
  }
}

variable "phases" {
  description = "Phases of the experiment whose regions are deployed. 1: Europe; 2: the rest of the world."
  type        = list(number)
  default     = [1]
  nullable    = false

  validation {
    condition     = length(var.phases) > 0 && alltrue([for p in var.phases : p >= 1 && p == floor(p)])
    error_message = "phases must be a list of whole numbers from 1, such as [1] or [1, 2]."
  }
}

variable "instance_types" {
  description = "Instance types to deploy, a subset of the experiment's. null: all of them."
  type        = list(string)
  default     = null

  validation {
    condition     = var.instance_types == null ? true : length(var.instance_types) > 0
    error_message = "instance_types must name at least one type, or be null for all of the experiment."
  }
}

variable "replicas" {
  description = "Instances per candidate (region, availability zone, instance type)."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = var.replicas >= 1 && var.replicas <= 10 && var.replicas == floor(var.replicas)
    error_message = "replicas must be a whole number from 1 to 10."
  }
}

variable "az_ids" {
  description = "Availability zone ids per region, such as {ap-northeast-1 = [\"apne1-az4\"]}; every type is deployed in each. A region without an entry uses the first zone that offers all types."
  type        = map(list(string))
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue(flatten([for ids in values(var.az_ids) : [for id in ids : can(regex("^[a-z0-9]+-az[0-9]+$", id))]]))
    error_message = "az_ids must hold zone ids such as euw1-az2; names such as eu-west-1a map to different zones in every account."
  }

  validation {
    condition     = alltrue([for ids in values(var.az_ids) : length(ids) > 0 && length(ids) <= 8])
    error_message = "az_ids must name one to eight zones per region."
  }
}

variable "excluded_candidates" {
  description = "Candidates not to deploy, as region/az_id/instance_type. `sweep deploy` adds those for which AWS has no capacity."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for c in var.excluded_candidates : can(regex("^[a-z0-9-]+/[a-z0-9]+-az[0-9]+/[a-z0-9-]+\\.[a-z0-9-]+$", c))])
    error_message = "excluded_candidates must look like eu-west-1/euw1-az2/c6i.large."
  }
}

variable "ttl_hours" {
  description = "Hours after which probes terminate and the monitor stops; also written to the ExpiresAt tag."
  type        = number
  default     = 12
  nullable    = false

  validation {
    condition     = var.ttl_hours >= 1 && var.ttl_hours <= 720
    error_message = "ttl_hours must be 1 to 720 (30 days)."
  }
}

# --- Package -------------------------------------------------------------------------------------

variable "wheel_uri" {
  description = "The project's wheel: s3://bucket/path/binance_latency_sweep-VERSION-py3-none-any.whl, an https URL of a wheel, or an exact requirement for a package index (binance-latency-sweep==0.1.0)."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^(s3://[a-z0-9.-]+/|https://)[^\\s'\"]+\\.whl$", var.wheel_uri)) || can(regex("^binance-latency-sweep==[0-9][A-Za-z0-9.+!]*$", var.wheel_uri))
    error_message = "wheel_uri must be an s3:// or https:// URL of a .whl file, or binance-latency-sweep==VERSION."
  }
}

variable "wheel_sha256" {
  description = "SHA-256 of the wheel in hexadecimal; an instance that downloads another file does not start a probe. Recommended for URLs."
  type        = string
  default     = null

  validation {
    condition     = var.wheel_sha256 == null ? true : can(regex("^[0-9a-f]{64}$", var.wheel_sha256))
    error_message = "wheel_sha256 must be 64 lower-case hexadecimal digits."
  }
}

variable "pip_index_url" {
  description = "Package index for the dependencies of the wheel. null: PyPI. Must not contain credentials: user data is readable on the instance."
  type        = string
  default     = null

  validation {
    condition     = var.pip_index_url == null ? true : can(regex("^https://[^@\\s]+$", var.pip_index_url))
    error_message = "pip_index_url must be an https URL without user name and password."
  }
}

# --- Instances -----------------------------------------------------------------------------------

variable "ami_ssm_parameter" {
  description = "Public SSM parameter of the image id; %s is replaced by x86_64 or arm64."
  type        = string
  default     = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-%s"
  nullable    = false

  validation {
    condition     = can(regex("^/aws/service/[^%]*%s[^%]*$", var.ami_ssm_parameter))
    error_message = "ami_ssm_parameter must begin with /aws/service/ and contain %s once, for the architecture."
  }
}

variable "root_volume_gib" {
  description = "Size of each probe's encrypted gp3 root volume, GiB."
  type        = number
  default     = 10
  nullable    = false

  validation {
    condition     = var.root_volume_gib >= 8 && var.root_volume_gib <= 100
    error_message = "root_volume_gib must be 8 to 100."
  }
}

variable "precision_time_types" {
  description = "Instance types to launch in a precision-time placement group, which provides a PTP hardware clock; AWS lists the supported types."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "clock" {
  description = "Clock source: auto (the network card's PTP clock if it has one, otherwise Amazon's NTP), phc or ntp."
  type        = string
  default     = "auto"
  nullable    = false

  validation {
    condition     = contains(["auto", "phc", "ntp"], var.clock)
    error_message = "clock must be auto, phc or ntp."
  }
}

variable "timestamps" {
  description = "Source of receive timestamps: auto (captured packets where they can be had, otherwise the socket's), socket, capture or nic (the network card's own). Sets the probe's option and gives its unit what that needs."
  type        = string
  default     = "auto"
  nullable    = false

  validation {
    condition     = contains(["auto", "socket", "capture", "nic"], var.timestamps)
    error_message = "timestamps must be auto, socket, capture or nic."
  }
}

variable "scheduling" {
  description = "Scheduling of the probe: realtime_priority (1 to 49; 0 for none), nice (-20 to 19, where there is none) and cpu_affinity, a CPU list such as \"1\" or \"2-3\" that exists on every instance type. null: all CPUs."
  type = object({
    realtime_priority = optional(number, 10)
    nice              = optional(number, -10)
    cpu_affinity      = optional(string)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.scheduling.realtime_priority >= 0 && var.scheduling.realtime_priority <= 49 && var.scheduling.realtime_priority == floor(var.scheduling.realtime_priority)
    error_message = "scheduling.realtime_priority must be a whole number from 0 to 49; from 50 on the probe would run before the interrupts that bring its data."
  }

  validation {
    condition     = var.scheduling.nice >= -20 && var.scheduling.nice <= 19
    error_message = "scheduling.nice must be -20 to 19."
  }

  validation {
    condition     = var.scheduling.cpu_affinity == null ? true : can(regex("^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*$", var.scheduling.cpu_affinity))
    error_message = "scheduling.cpu_affinity must be a list of CPUs such as 1 or 2-3."
  }
}

variable "metrics_port" {
  description = "Port of the probes' metrics endpoint; open to the monitor's address only."
  type        = number
  default     = 9090
  nullable    = false

  validation {
    condition     = var.metrics_port >= 1024 && var.metrics_port <= 65535 && var.metrics_port != 9100
    error_message = "metrics_port must be 1024 to 65535, except 9100, the port of node_exporter."
  }
}

variable "scrape_tls" {
  description = "Serve and scrape metrics over TLS with a bearer token. The secrets must be in SSM Parameter Store before the instances start: `sweep deploy` creates them; see docs/aws.md to create them yourself."
  type        = bool
  default     = true
  nullable    = false
}

variable "cloudwatch_logs" {
  description = "Send the journal to CloudWatch Logs, where it outlives the instance."
  type        = bool
  default     = true
  nullable    = false
}

# --- Access --------------------------------------------------------------------------------------

variable "allowed_cidrs" {
  description = "IPv4 ranges that may connect by SSH, if ssh_public_key is given. Without them, Session Manager only."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for c in var.allowed_cidrs : can(cidrnetmask(c)) && try(tonumber(split("/", c)[1]) >= 16, false)])
    error_message = "allowed_cidrs must be IPv4 ranges of /16 or smaller, such as 203.0.113.7/32; never 0.0.0.0/0."
  }
}

variable "ssh_public_key" {
  description = "OpenSSH public key of ec2-user. null: no SSH."
  type        = string
  default     = null

  validation {
    condition     = var.ssh_public_key == null ? true : can(regex("^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp[0-9]+) [A-Za-z0-9+/=]+( .*)?$", var.ssh_public_key))
    error_message = "ssh_public_key must be one line of an OpenSSH public key file."
  }
}

# --- Monitor -------------------------------------------------------------------------------------

variable "monitor" {
  description = <<-EOT
    Central Prometheus, Grafana and Alertmanager. mode = "create" launches an instance for them, in
    region (null: the first active region). mode = "existing" uses your own: cidr is the address it
    scrapes from (/32), the URLs are its endpoints.
  EOT
  type = object({
    mode           = optional(string, "create")
    region         = optional(string)
    instance_type  = optional(string, "t4g.medium")
    architecture   = optional(string, "arm64")
    volume_gib     = optional(number, 30)
    retention_days = optional(number, 30)
    cidr           = optional(string)
    prometheus_url = optional(string)
    grafana_url    = optional(string)
  })
  default  = {}
  nullable = false

  validation {
    condition     = contains(["create", "existing"], var.monitor.mode)
    error_message = "monitor.mode must be create or existing."
  }

  validation {
    condition     = var.monitor.mode == "existing" ? can(regex("^[0-9.]+/32$", var.monitor.cidr)) && can(cidrnetmask(var.monitor.cidr)) && can(regex("^https?://", var.monitor.prometheus_url)) : true
    error_message = "monitor.mode = \"existing\" needs monitor.cidr, one IPv4 address such as 203.0.113.9/32, and monitor.prometheus_url."
  }

  validation {
    condition     = contains(["x86_64", "arm64"], var.monitor.architecture)
    error_message = "monitor.architecture must be x86_64 or arm64."
  }

  validation {
    condition     = var.monitor.volume_gib >= 10 && var.monitor.volume_gib <= 1000 && var.monitor.retention_days >= 1
    error_message = "monitor.volume_gib must be 10 to 1000, and monitor.retention_days at least 1."
  }
}
