# NATS JetStream: a server in each of three zones, each with a volume of its own that outlives it. EC2 and not ECS: the
# volumes that ECS manages for the tasks of a service are deleted with the task.

locals {
  # Short names that stay when a zone's name is long: a, b, c.
  nodes = { for zone, subnet in var.subnets : substr(zone, -1, 1) => { zone = zone, subnet = subnet } }
  names = { for node in keys(local.nodes) : node => "${node}.nats.${var.internal_zone.name}" }
}

data "aws_region" "current" {}

data "aws_ssm_parameter" "ami" {
  name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"
}

resource "aws_ebs_volume" "data" {
  for_each = local.nodes

  availability_zone = each.value.zone
  type              = "gp3"
  size              = var.storage_gb
  iops              = var.storage_iops
  encrypted         = true
  kms_key_id        = var.kms_key_arn
  final_snapshot    = true
  tags              = { Name = "${var.name}-nats-${each.key}" }
}

resource "aws_instance" "node" {
  for_each = local.nodes

  ami                    = data.aws_ssm_parameter.ami.insecure_value
  instance_type          = var.instance_type
  subnet_id              = each.value.subnet
  vpc_security_group_ids = [var.security_group_id]
  iam_instance_profile   = aws_iam_instance_profile.node.name
  tags                   = { Name = "${var.name}-nats-${each.key}" }

  user_data_base64 = base64gzip(templatefile("${path.module}/templates/start.sh.tftpl", {
    region       = data.aws_region.current.region
    volume       = replace(aws_ebs_volume.data[each.key].id, "-", "")
    image        = var.image
    admin_image  = var.admin_image
    bucket       = aws_s3_bucket.configuration.id
    tls_secret   = var.tls_secret_arn
    admin_secret = var.admin_secret_arn
    log_group    = aws_cloudwatch_log_group.this.name
    node         = each.key
    host         = local.names[each.key]
    configuration = templatefile("${path.module}/templates/nats.conf.tftpl", {
      node     = each.key
      cluster  = var.name
      hosts    = sort(values(local.names))
      store_gb = floor(0.9 * var.storage_gb)
    })
  }))

  # A failed host: EC2 starts the same instance, with its address and volumes, on another one.
  maintenance_options {
    auto_recovery = "default"
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  root_block_device {
    encrypted  = true
    kms_key_id = var.kms_key_arn
  }

  # A new image or configuration would replace all three at once. Replace one after the other: README.md.
  lifecycle {
    ignore_changes = [ami, user_data_base64]
  }
}

resource "aws_volume_attachment" "data" {
  for_each = local.nodes

  device_name = "/dev/sdf"
  volume_id   = aws_ebs_volume.data[each.key].id
  instance_id = aws_instance.node[each.key].id
  # The server writes to the volume: stop it before it is detached.
  stop_instance_before_detaching = true
}

resource "aws_route53_record" "node" {
  for_each = local.nodes

  zone_id = var.internal_zone.id
  name    = local.names[each.key]
  type    = "A"
  ttl     = 10
  records = [aws_instance.node[each.key].private_ip]
}

resource "aws_cloudwatch_metric_alarm" "host" {
  for_each = local.nodes

  alarm_name          = "${var.name}-nats-${each.key}-host"
  alarm_description   = "The host of a NATS server failed; EC2 starts it on another. docs/operations.md#busdisconnected"
  namespace           = "AWS/EC2"
  metric_name         = "StatusCheckFailed_System"
  dimensions          = { InstanceId = aws_instance.node[each.key].id }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 2
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  alarm_actions       = ["arn:aws:automate:${data.aws_region.current.region}:ec2:recover", var.alarm_topic_arn]
}

resource "aws_cloudwatch_metric_alarm" "system" {
  for_each = local.nodes

  alarm_name          = "${var.name}-nats-${each.key}-system"
  alarm_description   = "The operating system of a NATS server doesn't answer; EC2 restarts it. docs/operations.md#busdisconnected"
  namespace           = "AWS/EC2"
  metric_name         = "StatusCheckFailed_Instance"
  dimensions          = { InstanceId = aws_instance.node[each.key].id }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  alarm_actions       = ["arn:aws:automate:${data.aws_region.current.region}:ec2:reboot", var.alarm_topic_arn]
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/${var.name}/nats"
  retention_in_days = var.log_retention_days
}
