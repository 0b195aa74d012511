//! Pools of subnets, addresses and ports as pure logic.
