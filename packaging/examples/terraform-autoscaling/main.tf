# An autoscaling group of boxes with the agent. It starts boxes for as long as it is there, and a presigned URL lasts 7
# days at most: give it an image that has the agent in it (../packer), or a URL that lasts.

variable "name" {
  type    = string
  default = "fleetkey-group"
}

variable "image_id" {
  description = "An image that Packer has made with the agent in it, or any other together with a URL that lasts"
  type        = string
}

variable "package_url" {
  description = "Not used by an image that has the agent in it"
  type        = string
  default     = "https://packages.invalid/fleetkey-agent.deb"
}

variable "package_sha256" {
  type    = string
  default = "0000000000000000000000000000000000000000000000000000000000000000"
}

variable "account" {
  type    = string
  default = "admin"
}

variable "keys" {
  type    = list(string)
  default = ["@@developers"]
}

variable "subnet_ids" {
  type = list(string)
}

variable "size" {
  type    = number
  default = 2
}

module "box" {
  source         = "../terraform-launch-template"
  name           = var.name
  image_id       = var.image_id
  package_url    = var.package_url
  package_sha256 = var.package_sha256
  account        = var.account
  keys           = var.keys
}

resource "aws_autoscaling_group" "boxes" {
  name                = var.name
  min_size            = var.size
  max_size            = var.size * 2
  vpc_zone_identifier = var.subnet_ids

  launch_template {
    id      = module.box.launch_template_id
    # A number, not "$Latest": a refresh begins where this changes.
    version = module.box.latest_version
  }

  # Who may log in changes in IAM, not here: no box is replaced for it. A new package or configuration does that.
  instance_refresh {
    strategy = "Rolling"
  }

  tag {
    key                 = "Name"
    value               = var.name
    propagate_at_launch = true
  }
}
