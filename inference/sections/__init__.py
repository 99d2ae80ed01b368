"""Methods that close whole sections of a network: layer gates, and units and layers together."""
