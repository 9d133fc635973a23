//! The replicated list: openraft, its storage and its network.
