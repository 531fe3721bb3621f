//! Layer 2: values as bytes that outlive the process that wrote them. Pure: bytes in, bytes out; no files, no sockets.
//!
//! ```text
//! dump       the payload of DUMP and RESTORE      crc64    its checksum
//! libraries  that of FUNCTION DUMP and FUNCTION RESTORE
//! ```

pub mod crc64;
pub mod dump;
pub mod libraries;
