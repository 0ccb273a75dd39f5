# A launch template whose boxes have the agent, and the instance profile that they need. No controller is needed to
# start a box of it.

terraform {
  required_version = ">= 1.3"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "name" {
  description = "Name of the launch template, the role and the instance profile"
  type        = string
  default     = "fleetkey-box"
}

variable "image_id" {
  description = "Image of Debian, Ubuntu, Amazon Linux 2023 or Rocky 9, or one that Packer has made with the agent in it"
  type        = string
}

variable "instance_type" {
  type    = string
  default = "t3.micro"
}

variable "package_url" {
  description = "URL of the agent's .deb or .rpm, as `fleetkey agent url` prints it; that one ends after at most 7 days"
  type        = string
  sensitive   = true
}

variable "package_sha256" {
  description = "SHA-256 of the package: 64 hex digits"
  type        = string

  validation {
    condition     = can(regex("^[0-9a-f]{64}$", var.package_sha256))
    error_message = "A SHA-256 is 64 hex digits."
  }
}

variable "account" {
  description = "The account that the image's cloud-init makes: admin, ubuntu, ec2-user, rocky"
  type        = string
}

variable "keys" {
  description = "Who may log in to it"
  type        = list(string)
  default     = ["@@developers"]
}

variable "policies" {
  description = "The agent's policies in packaging/iam that this configuration calls for"
  type        = set(string)
  default     = ["agent-source-iam", "agent-registry-s3", "agent-registry-ec2", "agent-push", "agent-report"]
}

data "aws_caller_identity" "this" {}
data "aws_partition" "this" {}
data "aws_region" "this" {}

locals {
  bucket = "${data.aws_caller_identity.this.account_id}-fleetkey"
  # The words that packaging/iam/README.md names.
  words = {
    PARTITION  = data.aws_partition.this.partition
    ACCOUNT_ID = data.aws_caller_identity.this.account_id
    REGION     = data.aws_region.this.name
    TOPIC      = "fleetkey-agent-notifications"
    BUCKET     = local.bucket
  }
  documents = {
    for policy in var.policies : policy => replace(replace(replace(replace(replace(
      file("${path.module}/../../iam/${policy}.json"),
      "PARTITION", local.words.PARTITION),
      "ACCOUNT_ID", local.words.ACCOUNT_ID),
      "REGION", local.words.REGION),
      "TOPIC", local.words.TOPIC),
    "BUCKET", local.words.BUCKET)
  }
}

resource "aws_iam_role" "box" {
  name = var.name
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ec2.${data.aws_partition.this.dns_suffix}" }
    }]
  })
}

resource "aws_iam_role_policy" "agent" {
  for_each = local.documents
  name     = "fleetkey-${each.key}"
  role     = aws_iam_role.box.id
  policy   = each.value
}

resource "aws_iam_instance_profile" "box" {
  name = var.name
  role = aws_iam_role.box.name
}

resource "aws_launch_template" "box" {
  name                   = var.name
  image_id               = var.image_id
  instance_type          = var.instance_type
  update_default_version = true

  iam_instance_profile {
    arn = aws_iam_instance_profile.box.arn
  }

  metadata_options {
    http_tokens = "required"
  }

  user_data = base64encode(templatefile("${path.module}/../user-data.yaml", {
    package_url    = var.package_url
    package_sha256 = var.package_sha256
    account        = var.account
    keys           = join(", ", [for key in var.keys : jsonencode(key)])
    bucket         = local.bucket
  }))
}

output "launch_template_id" {
  value = aws_launch_template.box.id
}

output "latest_version" {
  value = aws_launch_template.box.latest_version
}
