"""What monitors tell goes out: to Slack, PagerDuty, Opsgenie, Teams, e-mail and webhooks, at least once, in order."""
