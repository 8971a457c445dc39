//! Configurations and files: what is read, and what is refused with which words.

use std::{fs, path::Path};

use chimera_core::Prompt;
use chimera_load::{Arrivals, Cancel, Length, Lengths, LoadConfig, LoadError, LoadPlan, Prompts};
use chimera_records::Flag;

use crate::common::{MS, clock, config, plan, server, simulate, simulate_until};

const WHOLE: &str = r#"
backend = "ollama"
model = "smollm2:135m"
arrivals = { law = "poisson", rate = [1, 2.5] }
length = { requests = 200 }
warmup = { seconds = 5 }
output = { law = "lognormal", median = 100, sigma = 0.7, min = 4, max = 512 }
nonce = false
chat = true
exact = false
sampling = { temperature = 0.7 }
blocks = 3
seed = 9
timeout_s = 30
max_in_flight = 64
slo = { ttft_s = 0.5, tpot_s = 0.05 }
[prompts]
source = "synthetic"
tokens = { law = "empirical", tokens = [16, 128] }
"#;

#[test]
fn every_key_is_read_and_stands_in_the_design() {
    let config = LoadConfig::parse(WHOLE).expect("a configuration");
    assert_eq!(config.arrivals, Arrivals::Poisson { rate: vec![1.0, 2.5] });
    assert_eq!((config.length, config.warmup), (Some(Length::Requests(200)), Length::Seconds(5.0)));
    assert_eq!(config.prompts, Prompts::Synthetic { tokens: Lengths::Empirical { tokens: vec![16, 128] } });
    assert_eq!((config.max_in_flight, config.slo.tpot_s, config.slo.e2e_s), (Some(64), Some(0.05), None));
    let plan = LoadPlan::new(config.clone(), Path::new(".")).expect("a plan");
    assert_eq!(LoadConfig::from_design(plan.design()).expect("it reads back"), config);
    assert_eq!(plan.budget(), 512);
}

#[test]
fn what_is_wrong_is_named_with_its_key() {
    let small = "backend = \"b\"\nmodel = \"m\"\nlength = { requests = 5 }\n";
    let closed = format!("{small}arrivals = {{ law = \"closed\", concurrency = [2] }}\n");
    assert!(LoadConfig::parse(&closed).is_ok());
    for (text, key, word) in [
        (format!("{closed}rate = 3"), "rate", "unknown field"),
        (
            format!("{small}arrivals = {{ law = \"closed\", concurrency = [2], burst = 1 }}"),
            "arrivals",
            "burst",
        ),
        (format!("{small}arrivals = {{ law = \"gamma\", rate = [2] }}"), "arrivals", "gamma"),
        (format!("{small}arrivals = {{ law = \"poisson\", rate = [] }}"), "arrivals", "one or more"),
        (format!("{small}arrivals = {{ law = \"poisson\", rate = [2, 2] }}"), "arrivals", "twice"),
        (format!("{small}arrivals = {{ law = \"poisson\", rate = [-1] }}"), "arrivals", "above 0"),
        (format!("{small}arrivals = {{ law = \"poisson\", rate = [nan] }}"), "arrivals", "above 0"),
        (format!("{closed}max_in_flight = 3"), "max_in_flight", "concurrency"),
        (format!("{closed}blocks = 0"), "blocks", "1 to"),
        (format!("{closed}timeout_s = 0"), "timeout_s", "more than 0"),
        (format!("{closed}slo = {{ ttft = 3 }}"), "slo", "ttft_s"),
        (format!("{closed}output = {{ law = \"fixed\", tokens = 0 }}"), "output", "1 to"),
        (format!("{closed}saturation = {{ most = 1 }}"), "saturation", "at or above"),
        ("backend = ".to_owned(), ".", "line 1"),
        (closed.replace("length = { requests = 5 }", ""), "length", "requests = 200"),
    ] {
        match LoadConfig::parse(&text) {
            Err(LoadError::Config { key: found, reason }) => {
                assert!(found.starts_with(key) && reason.contains(word), "{text}: {found}: {reason}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    assert!(LoadConfig::from_design("schema = 1").is_err());
}

#[test]
fn files_are_read_and_bad_lines_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let with = |text: &[u8]| {
        fs::write(folder.path().join("p"), text).expect("written");
        let asked = config(Arrivals::Closed { concurrency: vec![1] }, 4, 5);
        LoadPlan::new(asked.prompts(Prompts::File { path: "p".into() }), folder.path())
    };
    for (text, word) in [
        (&b"\n  \n"[..], "no line"),
        (b"{\"prompt\": \"a\"}\n{\"prompt\": 3}\n", "line 2"),
        (b"{\"prompt\": \"a\", \"temperature\": 3}", "line 1"),
        (b"{\"prompt\": \"a\"}\n{\"prompt\": \"\"}", "line 2"),
        (b"fine\n\xff\xfe\n", "line 2"),
    ] {
        let refused = with(text).expect_err("refused").to_string();
        assert!(refused.contains(word), "{refused}");
    }
    assert!(
        LoadPlan::new(
            config(Arrivals::Closed { concurrency: vec![1] }, 4, 5)
                .prompts(Prompts::File { path: "none".into() }),
            folder.path()
        )
        .is_err()
    );
    for (text, word) in
        [("0.5\n0.25\n", "line 2"), ("0\nsoon\n", "line 2"), ("-1\n", "line 1"), ("inf", "line 1")]
    {
        fs::write(folder.path().join("t"), text).expect("written");
        let arrivals = Arrivals::Replay { file: "t".into(), speed: vec![1.0] };
        let refused = LoadPlan::new(config(arrivals, 4, 5), folder.path()).expect_err("refused").to_string();
        assert!(refused.contains(word), "{refused}");
    }
    // Own budgets, all prompts in each block, and lines of text.
    let plan = with(b"{\"prompt\": \"one\", \"max_tokens\": 9}\n{\"prompt\": \"two\"}\n").expect("a plan");
    assert_eq!(plan.budget(), 9);
    let clock = clock();
    let done = simulate(&clock, &server(&clock, 1, MS, MS).build(), &plan);
    let mut budgets: Vec<_> = done.sink.trials.iter().map(|trial| trial.lanes[0].generated).collect();
    budgets.sort();
    assert_eq!(budgets, [Some(5), Some(5), Some(9), Some(9)]);
    assert_eq!(&*done.sink.trials[0].factors.scenario, "p@closed-1");
    assert!(with(b"a first line\nanother\n").is_ok());
}

#[test]
fn prompts_have_their_length_and_no_cache_answers_them() {
    let lengths = Lengths::Uniform { min: 20, max: 200 };
    let run = |nonce: bool| {
        let clock = clock();
        let backend = server(&clock, 1, MS, MS).prompt_cache(true).build();
        let asked = LoadConfig {
            nonce,
            prompts: Prompts::Synthetic { tokens: lengths.clone() },
            ..config(Arrivals::Closed { concurrency: vec![1, 2] }, 40, 2)
        };
        simulate(&clock, &backend, &plan(asked)).sink.trials
    };
    let with = run(true);
    let prompt = |trial: &chimera_records::Trial| trial.lanes[0].prompt_tokens.expect("counted");
    assert!(with.iter().all(|trial| (20..=200).contains(&prompt(trial))));
    assert!(with.iter().any(|trial| prompt(trial) < 60) && with.iter().any(|trial| prompt(trial) > 160));
    assert!(with.iter().all(|trial| !trial.flags.contains(&Flag::PromptLength)), "token ids are exact");
    // One letter in 26 begins as the prompt before did; the nonce is over after twelve.
    let cached = |trial: &chimera_records::Trial| trial.lanes[0].cached_tokens.unwrap_or(0);
    assert!(with.iter().all(|trial| cached(trial) < 12));
}

#[test]
fn a_file_without_a_nonce_is_sent_as_it_stands_and_a_chat_as_a_message() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("p.txt"), "Say hello.\n").expect("written");
    for (nonce, chat) in [(false, false), (true, false), (false, true), (true, true)] {
        let asked = LoadConfig { nonce, chat, ..config(Arrivals::Closed { concurrency: vec![1] }, 2, 3) };
        let asked = asked.prompts(Prompts::File { path: "p.txt".into() });
        let plan = LoadPlan::new(asked, folder.path()).expect("a plan");
        let clock = clock();
        let heard = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let listen = std::sync::Arc::clone(&heard);
        let backend = server(&clock, 1, MS, MS).build();
        simulate_until(&clock, &backend, &plan, &Cancel::new(), move |target| {
            let inner = std::sync::Arc::clone(&target.session);
            target.session = std::sync::Arc::new(Listening(inner, std::sync::Arc::clone(&listen)));
        });
        let heard = heard.lock().expect("heard");
        let texts: Vec<&str> = heard
            .iter()
            .map(|prompt| match prompt {
                Prompt::Text(text) if !chat => &**text,
                Prompt::Chat(messages) if chat => &*messages[0].content,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(texts.len(), 2);
        assert!(texts.iter().all(|text| text.ends_with("Say hello.")));
        assert_eq!(texts[0] == "Say hello.", !nonce);
        assert_eq!(texts[0] != texts[1], nonce);
    }
}

/// Hears what is asked.
#[derive(Debug)]
struct Listening(std::sync::Arc<dyn chimera_core::Session>, std::sync::Arc<std::sync::Mutex<Vec<Prompt>>>);

#[async_trait::async_trait]
impl chimera_core::Session for Listening {
    fn model(&self) -> &chimera_core::ModelInfo {
        self.0.model()
    }
    fn generate(&self, batch: chimera_core::Batch) -> chimera_core::EventStream {
        self.1.lock().expect("heard").extend(batch.0.iter().map(|request| request.prompt.clone()));
        self.0.generate(batch)
    }
    async fn tokenize(&self, text: &str) -> chimera_core::Result<Vec<u32>> {
        self.0.tokenize(text).await
    }
    async fn score(&self, tokens: &[u32]) -> chimera_core::Result<chimera_core::Score> {
        self.0.score(tokens).await
    }
    async fn logits(&self, tokens: &[u32]) -> chimera_core::Result<chimera_core::Logits> {
        self.0.logits(tokens).await
    }
    async fn idle(&self) {
        self.0.idle().await;
    }
    async fn unload(&self) -> chimera_core::Result<()> {
        self.0.unload().await
    }
}
