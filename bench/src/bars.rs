//! How a run is judged.

/// Prints whether a bar is held, and by how much.
pub fn tell(bench: &str, what: &str, judged: Option<(bool, String)>) {
    match judged {
        Some((true, how)) => println!("  PASS  {bench}: {what}: {how}"),
        Some((false, how)) => println!("  FAIL  {bench}: {what}: {how}"),
        None => leave_open(bench, what, "not measured, or too noisy to tell"),
    }
}

/// Prints why a bar cannot be judged.
pub fn leave_open(bench: &str, what: &str, why: &str) {
    println!("  ----  {bench}: {what}: {why}");
}
