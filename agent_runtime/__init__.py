"""The reference agent runtime: a customer-support agent that speaks OTLP and HTTP, and a simulated world around it."""
