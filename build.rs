//! Tells cargo that a new file in `migrations/` is a reason to build again.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
