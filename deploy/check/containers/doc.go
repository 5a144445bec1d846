// Package containers tests what a container engine would read and this repository's tests have no engine for:
// docker-compose.yml, the Dockerfile, the Caddyfile, the collector's configuration. It holds nothing else.
package containers

// root is the repository's.
const root = "../../.."
