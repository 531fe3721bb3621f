//! The program's own view of a cluster: `larder cluster …`, and what probes and Prometheus are told.
