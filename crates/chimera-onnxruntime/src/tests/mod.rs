//! Tests below the session.
