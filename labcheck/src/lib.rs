//! A checker of linearizability, usable on its own.
//!
//! Kit-owned. Nothing stands here yet: the checker comes with lab 3.
