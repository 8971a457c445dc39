//! A whole planted study costs little: its estimators can be judged over a thousand seeds.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{sync::Arc, time::Instant};

use chimera_core::{BackendExt, EventKind, Request};
use chimera_sim::{Noise, SimBackend, SimModel, VirtualClock};
use futures_executor::block_on;
use futures_util::StreamExt;

const FAMILY: [u64; 7] = [102_714, 500_000, 1_000_000, 5_000_000, 25_000_000, 45_000_000, 96_088_320];

/// Runs one study and gives the slope of log decode time over log parameters, each block's by least squares.
fn slopes(seed: u64, blocks: u64) -> Vec<f64> {
    let slope = |points: &[(f64, f64)]| {
        let n = points.len() as f64;
        let (mx, my) = points.iter().fold((0.0, 0.0), |(x, y), p| (x + p.0 / n, y + p.1 / n));
        let (xy, xx) = points
            .iter()
            .fold((0.0, 0.0), |(xy, xx), p| (xy + (p.0 - mx) * (p.1 - my), xx + (p.0 - mx).powi(2)));
        xy / xx
    };
    let block = |block| {
        let models = FAMILY.map(|n| SimModel::power(n.to_string(), n, 0.8, 20.0));
        let backend = SimBackend::builder()
            .clock(Arc::new(VirtualClock::new()))
            .models(models)
            .noise(Noise::new(0.1, 0.1, 0.02))
            .seed(seed)
            .block(block)
            .build();
        let points = FAMILY.map(|parameters| {
            let nanos = block_on(async {
                let session = backend.load_named(&parameters.to_string()).await.unwrap();
                let mut decode = 0;
                for prompt in [1, 5, 17, 512] {
                    let request = Request::tokens(vec![65; prompt], 64).exact();
                    let mut stream = session.generate(request.into());
                    let (mut first, mut last) = (None, 0);
                    while let Some(event) = stream.next().await {
                        let event = event.unwrap();
                        if matches!(event.kind, EventKind::Chunk { .. }) {
                            first.get_or_insert(event.at.0);
                            last = event.at.0;
                        }
                    }
                    decode += last - first.unwrap();
                }
                decode
            });
            ((parameters as f64).ln(), (nanos as f64).ln())
        });
        slope(&points)
    };
    (0..blocks).map(block).collect()
}

#[test]
fn a_thousand_studies_fit_into_a_minute_and_find_the_exponent() {
    const STUDIES: u64 = 20;
    let began = Instant::now();
    let all: Vec<f64> = (0..STUDIES).flat_map(|seed| slopes(seed, 5)).collect();
    let per_study = began.elapsed() / u32::try_from(STUDIES).unwrap();
    println!("{per_study:?} for a study of 5 blocks, 7 models, 4 scenarios and 64 tokens");
    assert!(per_study.as_millis() < 60, "a thousand of {per_study:?} are more than a minute");

    let n = all.len() as f64;
    let mean = all.iter().sum::<f64>() / n;
    let deviation = (all.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
    // The noise of models scatters the slopes; their mean is the planted exponent.
    assert!((mean - 0.8).abs() < 4.0 * deviation / n.sqrt(), "{mean} with deviation {deviation}");
    assert!((0.005..0.05).contains(&deviation), "{deviation}");
}
