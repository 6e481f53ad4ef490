//! Health for load balancers and Kubernetes. `/healthcheck` is that of envoyproxy/ratelimit.
