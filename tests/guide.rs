//! What the guide quotes stands in the example, line for line.

#[test]
fn every_quotation_stands_in_the_example() {
    let guide = include_str!("../docs/write-an-adapter.md");
    let sources = [
        include_str!("../examples/poll_loop/adapter.rs"),
        include_str!("../examples/poll_loop/poll_loop.rs"),
        include_str!("adapter_guide.rs"),
    ];
    let sources = sources.map(without_indentation);
    let quotations: Vec<_> = guide.split("```rust\n").skip(1).collect();
    assert!(quotations.len() > 5);
    for quotation in quotations {
        let (quotation, _) = quotation.split_once("```").expect("its end");
        let lines = without_indentation(quotation);
        let stands = sources.iter().any(|source| source.contains(&lines));
        assert!(stands, "this is not in the example:\n{quotation}");
    }
}

fn without_indentation(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", line.trim())).collect()
}
