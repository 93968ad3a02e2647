"""Azure Resource Manager's rooms: subscriptions, the workspace and all that stands in it, and the scoring hosts."""
