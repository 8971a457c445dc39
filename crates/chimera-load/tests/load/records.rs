//! A load run is an ordinary run directory.

use chimera_core::InferenceBackend;
use chimera_load::{
    Arrivals, Cancel, Length, LoadConfig, LoadRun, RunOptions, Sink, Slo, WriterSink, begin_run, create_run,
    finish_run, gaps_between_chunks, gaps_per_token, run, summarise,
};
use chimera_records::{
    Design, First, HostRecord, Metric, ProgramRecord, RunDir, RunStatus, TokenStamps, TrialRole,
};

use crate::common::{MS, clock, config, plan, server, target};

#[test]
fn what_is_written_reads_back_as_a_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = clock();
    let backend = server(&clock, 4, 5 * MS, 2 * MS).build();
    let slo = Slo { ttft_s: Some(0.5), ..Slo::default() };
    let asked = config(Arrivals::Poisson { rate: vec![20.0, 30.0] }, 25, 6)
        .warmup(Length::Requests(3))
        .blocks(3, 5)
        .slo(slo);
    let plan = plan(asked.clone());
    let mut dir =
        create_run(folder.path(), &plan, ProgramRecord::default(), HostRecord::default()).expect("a run");
    let path = dir.path().to_owned();
    let lock = dir.lock().expect("the lock");
    let end = futures_executor::block_on(async {
        let target = target(&backend).await;
        begin_run(&mut dir, &plan, &target, backend.probe().await.expect("a probe")).expect("a manifest");
        let mut sink = WriterSink::new(dir.writer().expect("a writer")).expect("a thread");
        let cancel = Cancel::new();
        let load = LoadRun {
            plan: &plan,
            target: &target,
            clock: &clock,
            cancel: &cancel,
            options: RunOptions::simulated(),
        };
        let end = run(load, &mut sink, &mut |_| {}).await.expect("a run");
        sink.finish().expect("written");
        end
    });
    finish_run(&mut dir, &end).expect("a manifest");
    drop(lock);

    let dir = RunDir::open(&path).expect("a run");
    let manifest = dir.manifest();
    assert_eq!((manifest.study.as_str(), manifest.status), (Design::LOAD_STUDY, RunStatus::Complete));
    assert_eq!((manifest.counts.planned, manifest.counts.completed), (168, 168));
    assert!(manifest.models.contains_key("m") && manifest.backends.contains_key("sim"));
    assert_eq!(dir.design().expect("verbatim"), plan.design());
    assert_eq!(LoadConfig::from_design(&dir.design().expect("verbatim")).expect("a load run"), asked);
    let settings = dir.settings().expect("settings");
    dir.plan(&settings).expect("the plan that the manifest names");
    let read = dir.read_trials().expect("trials");
    assert!(read.damage.is_none());
    assert_eq!(read.trials.len(), 168);
    let first = read.trials.iter().min_by_key(|trial| trial.id).expect("a trial");
    assert_eq!(
        (first.role, first.firsts.as_slice()),
        (TrialRole::FirstUse, &[First::Process, First::Model][..])
    );
    for trial in &read.trials {
        let lane = &trial.lanes[0];
        assert!(lane.intended.is_some() && lane.in_flight.is_some() && lane.budget == Some(6));
        assert!(trial.flags.is_empty(), "{:?}", trial.flags);
        let scenario =
            settings.design.scenario(&trial.factors.scenario).expect("a level's prompts are in the design");
        assert!(scenario.text.contains("nonce = true"), "{}", scenario.text);
        assert!(Metric::TtftIntendedEngine.of(trial).is_some());
        assert_eq!(trial.is_steady(), trial.role == TrialRole::Measured);
    }
    let events: Vec<TokenStamps> = dir.events().expect("events").collect::<Result<_, _>>().expect("whole");
    assert_eq!(events.len(), 168);
    assert!(events.iter().all(|stamps| gaps_between_chunks(stamps).all(|gap| (gap - 0.002).abs() < 1e-9)));
    let summaries = summarise(&read.trials, &slo);
    assert_eq!(summaries.len(), 2);
    for summary in &summaries {
        assert_eq!((summary.counts.issued, summary.counts.warmup, summary.blocks.len()), (75, 9, 3));
        assert_eq!(summary.goodput.map(|good| good.share), Some(1.0));
        assert!((summary.tpot.p50.value().expect("enough") - 0.002).abs() < 1e-9);
        assert!(summary.blocks.iter().all(|block| block.evidence.warmup_ttft.is_some()));
    }
}

#[test]
fn tokens_of_a_chunk_share_its_gap() {
    let stamps = |carried| TokenStamps {
        trial: 0,
        attempt: 1,
        lane: 0,
        first: 0,
        deltas: vec![4_000_000, 3_000_000],
        carried,
    };
    assert_eq!(gaps_per_token(&stamps(None)), Some((vec![0.004, 0.003], false)));
    let shared = stamps(Some(vec![Some(1), Some(2), Some(3)]));
    assert_eq!(gaps_per_token(&shared), Some((vec![0.002, 0.002, 0.001, 0.001, 0.001], true)));
    assert_eq!(gaps_per_token(&stamps(Some(vec![Some(1), None, Some(1)]))), None);
}
