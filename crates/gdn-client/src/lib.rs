//! A client of the engine over gRPC.
