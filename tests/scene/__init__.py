"""A suspect EC2 host and its VPC, made of namespaces, for the end-to-end tests.

Nothing here leaves the machine: every network address belongs to a namespace made by the
test, and only the package mirror of the machine's own apt configuration is asked, once, for
the root file system.
"""
