//! Tests of tr108: golden values on the published data, planted values on the synthetic ones.

use std::collections::BTreeMap;

use chimera_replay::{Ledger, by_id};

use crate::common::{close, published, replay, synthetic};

#[test]
fn published_numbers_come_out() {
    let Some(data) = published() else { return };
    let replayed = replay("tr108", &data);
    for (name, expected) in [
        ("legacy.tokens_s.mean.q4_0", 76.586),
        ("legacy.ttft_s.mean.q4_0", 0.09726),
        ("legacy.tokens_s.p05.q4_0", 74.632),
        ("legacy.tokens_s.p95.q4_0", 78.0),
        ("legacy.tokens_s.mean.q5_K_M", 65.184),
        ("legacy.tokens_s.mean.q8_0", 46.572),
        ("legacy.sweep.best.llama3.1-q4_0", 78.42),
        ("legacy.sweep.mean.llama3.1-q4_0", 77.607_778),
        ("legacy.sweep.sd.llama3.1-q4_0", 0.279_593),
        ("legacy.sweep.best.gemma3", 103.156_467),
        ("legacy.sweep.best.gemma3-270m", 303.898_210),
        ("legacy.tokens_s.mean.gemma3", 102.200_910),
        ("legacy.eval_count.q4_0.prompt2", 10.0),
        ("cells.failed.gemma3-270m", 2.0),
    ] {
        close(&replayed, name, expected, 1e-4);
    }
    let p = replayed.values.point("p.num_gpu.llama3.1-q4_0").expect("a p");
    assert!((p - 0.986).abs() < 5e-4, "{p}");
    let files = data.files();
    let study = by_id("tr108").expect("the study");
    chimera_replay::findings(study, &replayed, &files, &[]).expect("findings");
    let mut ledger = Ledger::default();
    ledger.add("tr108", include_str!("../../../../fixtures/claims/tr108.toml")).expect("the ledger");
    let judged = ledger.judge(&BTreeMap::from([("tr108", replayed)]));
    assert!(judged.len() >= 12);
    for one in judged {
        assert_eq!(one.trouble, None, "{}", one.claim.id);
    }
}

#[test]
fn planted_numbers_come_out_and_failures_are_counted() {
    let data = synthetic();
    let replayed = replay("tr108", &data);
    // Five prompts of 100 tokens at 50, 40, 25, 20 and 10 tok/s: 500 tokens in 2 + 2.5 + 4 + 5 + 10 s.
    close(&replayed, "legacy.tokens_s.mean.q4_0", 29.0, 1e-12);
    close(&replayed, "decode_rate.server.q4_0", 500.0 / 23.5, 1e-12);
    close(&replayed, "cells.failed.gemma3-270m", 1.0, 0.0);
    // Reloads take 2.1 s, all other calls 0.1 s.
    close(&replayed, "ttft.server.reload_ratio.llama3.1-q4_0", 21.0, 1e-9);
    assert!(
        replayed.values.point("p_holm.num_ctx.llama3.1-q4_0").is_some_and(|p| p < 0.01),
        "planted in num_ctx"
    );
    assert!(
        replayed.values.point("p_holm.num_gpu.llama3.1-q4_0").is_some_and(|p| p > 0.2),
        "and nowhere else"
    );
    chimera_replay::findings(by_id("tr108").expect("the study"), &replayed, &data.files(), &[])
        .expect("findings");
}
