"""What an operator may set: the configuration file and the certificate profiles."""
