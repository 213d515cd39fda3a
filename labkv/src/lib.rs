//! Lab 3: a key-value service on Raft.
//!
//! Kit-owned. Nothing stands here yet: lab 3 comes with a later version of the kit.
