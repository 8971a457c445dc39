//! Candle: our adapter through a session of the laboratory, and the loop of Candle's own example of quantised models
//! (`candle-transformers`). Both take one GGUF file, one lane, greedily.

use std::{fs::File, io::BufReader, sync::Arc};

use candle_core::{Device, Tensor, quantized::gguf_file};
use candle_transformers::models::quantized_llama::ModelWeights;
use chimera_candle::CandleBackend;
use chimera_core::{Session, SystemClock};

use crate::{
    Arm, Engine,
    arm::{Figures, Setting, generate, gguf, greedy, resident, setting_of, timed},
};

pub(crate) const ENGINE: Engine = Engine { name: "candle", prepare, arms, run };

const OURS: &str = "ours";
const EXAMPLE: &str = "example";

pub(crate) fn load(file: &std::path::Path) -> Result<Arc<dyn Session>, String> {
    resident(&CandleBackend::builder(SystemClock::new()).build(), file)
}

fn prepare(model: &str) -> Result<Setting, String> {
    let file = gguf(model)?;
    let info = load(&file)?.model().clone();
    Ok(setting_of(model, file, &info, chimera_candle::threads()))
}

fn arms() -> Vec<Arm> {
    vec![
        Arm { name: "chimera-candle", key: OURS, missing: None },
        Arm { name: "the loop of Candle's example", key: EXAMPLE, missing: None },
    ]
}

fn run(key: &str, setting: &Setting) -> Figures {
    match key {
        OURS => generate(&*load(&setting.file).expect("the model loads"), setting),
        EXAMPLE => example(setting),
        other => panic!("no arm {other}"),
    }
}

/// The whole prompt, then token after token, the largest logit each time.
fn example(setting: &Setting) -> Figures {
    let mut file = BufReader::new(File::open(&setting.file).unwrap());
    let content = gguf_file::Content::read(&mut file).unwrap();
    let vocabulary = content.tensor_infos["token_embd.weight"].shape.dims()[0];
    let mut model = ModelWeights::from_gguf(content, &mut file, &Device::Cpu).unwrap();
    let prompt = setting.tokens(vocabulary);
    timed(|say| {
        let mut pass = |tokens: &[u32], at: usize| {
            let input = Tensor::new(tokens, &Device::Cpu).unwrap().unsqueeze(0).unwrap();
            let logits = model.forward(&input, at).unwrap().squeeze(0).unwrap();
            greedy(&logits.to_vec1::<f32>().unwrap())
        };
        let mut token = pass(&prompt, 0);
        say(token);
        for at in 0..setting.decode {
            token = pass(&[token], prompt.len() + at);
            say(token);
        }
    })
}
