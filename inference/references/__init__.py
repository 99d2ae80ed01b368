"""What guides are held against: all settings of the gates, Gibbs sampling, NUTS."""
