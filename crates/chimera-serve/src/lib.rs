//! Two servers. One puts Ollama's and OpenAI's HTTP interfaces in front of any [`chimera_core::InferenceBackend`]. The
//! other plays a script to the letter and logs when it wrote what: the ground truth that clients are judged by. Neither
//! measures anything.
