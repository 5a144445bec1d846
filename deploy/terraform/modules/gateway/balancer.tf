# The private load balancer: it knows which tasks are up, and routes by path.

locals {
  # The services tell how they are on the port that is never public; the pages' web server has no other.
  targets = {
    # Not /readyz: ECS replaces what the load balancer finds unhealthy, and tasks that have lost their database find it
    # again sooner than their successors would start.
    users      = { port = "9090", path = "/startupz" }
    scheduling = { port = "9090", path = "/startupz" }
    notifier   = { port = "9090", path = "/startupz" }
    pages      = { port = "traffic-port", path = "/livez" }
  }
}

resource "aws_lb" "this" {
  name                       = var.name
  internal                   = true
  load_balancer_type         = "application"
  subnets                    = var.subnet_ids
  security_groups            = [var.balancer_security_group_id]
  drop_invalid_header_fields = true
  desync_mitigation_mode     = "strictest"
  enable_deletion_protection = var.deletion_protection
}

resource "aws_lb_target_group" "this" {
  for_each = local.targets

  name                 = "${var.name}-${each.key}"
  vpc_id               = var.vpc_id
  target_type          = "ip"
  protocol             = "HTTP"
  port                 = 8080
  deregistration_delay = 30 # longer than any request takes

  health_check {
    port                = each.value.port
    path                = each.value.path
    matcher             = "200"
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }
}

resource "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.this.arn
  protocol          = "HTTPS"
  port              = 443
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = aws_acm_certificate_validation.this.certificate_arn

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this["users"].arn
  }
}

resource "aws_lb_listener_rule" "this" {
  for_each = { for i, rule in local.rules : format("%02d", i) => rule }

  listener_arn = aws_lb_listener.https.arn
  priority     = 10 + tonumber(each.key)

  action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this[each.value.service].arn
  }

  condition {
    path_pattern {
      values       = length(each.value.paths) > 0 ? each.value.paths : null
      regex_values = length(each.value.regex) > 0 ? each.value.regex : null
    }
  }
}
