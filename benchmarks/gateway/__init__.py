"""What the gateway costs: beside other gateways, and policy by policy."""
