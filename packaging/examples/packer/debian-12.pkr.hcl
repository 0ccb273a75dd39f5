# An image of Debian 12 with the agent in it, which lets in nobody until the box's own user-data says who. Nothing of
# the box that Packer uses comes along: the agent's state is bound to the instance, and is taken out besides.

packer {
  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = ">= 1.2.0"
    }
  }
}

variable "region" {
  type    = string
  default = "us-west-2"
}

variable "package_url" {
  type      = string
  sensitive = true
}

variable "package_sha256" {
  type = string
}

source "amazon-ebs" "debian" {
  region        = var.region
  instance_type = "t3.micro"
  ssh_username  = "admin"
  # Else the key that Packer makes for this build stays in the image.
  ssh_clear_authorized_keys = true
  ami_name      = "fleetkey-debian-12-${formatdate("YYYYMMDDhhmmss", timestamp())}"
  source_ami_filter {
    # Debian's own account: https://wiki.debian.org/Cloud/AmazonEC2Image
    owners      = ["136693071363"]
    most_recent = true
    filters = {
      name                = "debian-12-amd64-*"
      virtualization-type = "hvm"
      root-device-type    = "ebs"
    }
  }
  metadata_options {
    http_tokens = "required"
  }
}

build {
  sources = ["source.amazon-ebs.debian"]

  provisioner "shell" {
    environment_vars = [
      "PACKAGE_URL=${var.package_url}",
      "PACKAGE_SHA256=${var.package_sha256}",
    ]
    script = "${path.root}/install.sh"
  }
}
