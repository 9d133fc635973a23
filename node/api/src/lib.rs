//! gRPC: conversion, the interceptor of identity, role and access record, the only error-to-Status map.
