//! Federations with real TLS, sockets and disks; benchmarks.
