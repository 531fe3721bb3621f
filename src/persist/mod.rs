//! Layer 2: values as bytes that outlive the process that wrote them. Pure: bytes in, bytes out; no files, no sockets.
//!
//! ```text
//! dump      the payload of DUMP and RESTORE      crc64    its checksum
//! ```

pub mod crc64;
pub mod dump;
