"""The demo in containers: the settings of its services, and the steps around the federation."""
