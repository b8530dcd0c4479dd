//! The `afs` command.

fn main() {}
