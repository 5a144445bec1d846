mock_provider "aws" {
  source = "../../mocks"
}

variables {
  name    = "test"
  domain  = "healthmed.example"
  zone_id = "Z1"
}

run "feedback_comes_back" {
  assert {
    condition     = aws_sesv2_configuration_set_event_destination.feedback.event_destination[0].sns_destination[0].topic_arn == aws_sns_topic.feedback.arn
    error_message = "SES tells the topic."
  }

  assert {
    condition     = aws_sns_topic_subscription.feedback.endpoint == aws_sqs_queue.feedback.arn && aws_sns_topic_subscription.feedback.raw_message_delivery
    error_message = "The topic tells the queue, as SES wrote it."
  }

  assert {
    condition = (
      jsondecode(aws_sns_topic_policy.feedback.policy).Statement[0].Condition.StringEquals["aws:SourceArn"] == aws_sesv2_configuration_set.this.arn
      && jsondecode(aws_sqs_queue_policy.feedback.policy).Statement[0].Condition.ArnEquals["aws:SourceArn"] == aws_sns_topic.feedback.arn
    )
    error_message = "Nobody else writes to either."
  }

  assert {
    condition     = jsondecode(aws_sqs_queue.feedback.redrive_policy).deadLetterTargetArn == aws_sqs_queue.dead.arn
    error_message = "What can't be read is put aside."
  }
}

run "signed" {
  command = plan

  assert {
    condition     = length(aws_route53_record.dkim) == 3 && aws_sesv2_email_identity.this.dkim_signing_attributes[0].next_signing_key_length == "RSA_2048_BIT"
    error_message = "DKIM has its three records."
  }

  assert {
    condition     = aws_sesv2_configuration_set.this.delivery_options[0].tls_policy == "REQUIRE"
    error_message = "E-mails leave over TLS."
  }
}

run "a_domain_is_lower_case" {
  command = plan

  variables {
    domain = "HealthMed"
  }

  expect_failures = [var.domain]
}
