//! Many viewers at once.
fn main() {}
