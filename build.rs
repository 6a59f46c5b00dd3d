//! Makes cargo notice a new migration file: `sqlx::migrate!` alone only notices changes of those that it knows.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
