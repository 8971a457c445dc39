//! TLS over any transport, by rustls. The stamps of a secure connection are taken above the decryption, and there are no
//! stamps of the kernel: which record a byte came in is not told.

use std::{
    io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use futures_io::{AsyncRead, AsyncWrite};
use futures_rustls::{TlsConnector, client::TlsStream};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};

use crate::transport::{Received, Transport};

/// The trust of this process: what the operating system trusts, or Mozilla's roots where it has no store.
pub(crate) fn system_trust() -> Result<Arc<ClientConfig>, String> {
    static TRUST: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();
    TRUST
        .get_or_init(|| {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            }
            config(roots)
        })
        .clone()
}

/// What the cryptography needs of this processor, and whether it has it. graviola is written for these instructions and
/// panics, or worse, without them.
#[cfg(target_arch = "x86_64")]
fn instructions() -> Vec<(&'static str, bool)> {
    use std::arch::is_x86_feature_detected as has;
    vec![
        ("aes", has!("aes")),
        ("pclmulqdq", has!("pclmulqdq")),
        ("ssse3", has!("ssse3")),
        ("avx", has!("avx")),
        ("avx2", has!("avx2")),
        ("bmi1", has!("bmi1")),
        ("bmi2", has!("bmi2")),
        ("adx", has!("adx")),
    ]
}

/// The same on ARM.
#[cfg(target_arch = "aarch64")]
fn instructions() -> Vec<(&'static str, bool)> {
    use std::arch::is_aarch64_feature_detected as has;
    vec![("neon", has!("neon")), ("aes", has!("aes")), ("pmull", has!("pmull")), ("sha2", has!("sha2"))]
}

/// graviola is built for no other processor.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn instructions() -> Vec<(&'static str, bool)> {
    Vec::new()
}

/// An error when an instruction is missing.
fn able(instructions: &[(&str, bool)]) -> Result<(), String> {
    let missing: Vec<&str> = instructions.iter().filter(|(_, there)| !there).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!(
        "TLS needs instructions that this processor or virtual machine lacks ({}); reach the server over plain HTTP, through \
         a tunnel that encrypts (ssh -L) for instance",
        missing.join(", ")
    ))
}

/// A client that trusts these roots.
pub(crate) fn config(roots: RootCertStore) -> Result<Arc<ClientConfig>, String> {
    able(&instructions())?;
    let provider = Arc::new(rustls_graviola::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Shakes hands.
pub(crate) async fn connect(
    transport: Box<dyn Transport>,
    host: &str,
    config: Arc<ClientConfig>,
) -> io::Result<Box<dyn Transport>> {
    let name = ServerName::try_from(host.to_owned()).map_err(|_| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("`{host}` is no name of a server"))
    })?;
    let stream = TlsConnector::from(config).connect(name, Plain(transport)).await?;
    Ok(Box::new(Secure(stream)))
}

/// A transport as futures-io sees it.
struct Plain(Box<dyn Transport>);

impl AsyncRead for Plain {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(ready!(self.0.poll_receive(cx, buffer))?.bytes))
    }
}

impl AsyncWrite for Plain {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_send(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_close(cx)
    }
}

/// A secure stream as this crate sees it.
struct Secure(TlsStream<Plain>);

impl Transport for Secure {
    fn poll_receive(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<Received>> {
        let bytes = ready!(Pin::new(&mut self.0).poll_read(cx, buffer))?;
        Poll::Ready(Ok(Received { bytes, kernel_unix_ns: None }))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_without_the_instructions_is_an_error_that_names_them() {
        assert_eq!(able(&[("aes", true), ("avx2", true)]), Ok(()));
        let told = able(&[("aes", true), ("avx2", false), ("adx", false)]).unwrap_err();
        assert!(told.contains("(avx2, adx)") && told.contains("plain HTTP"), "{told}");
        // Where they are all there, the cryptography itself agrees.
        if able(&instructions()).is_ok() {
            assert!(config(RootCertStore::empty()).is_ok());
        }
    }
}
