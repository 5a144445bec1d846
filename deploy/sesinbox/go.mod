module github.com/healthmed/healthmed/deploy/sesinbox

go 1.26.0

require github.com/healthmed/healthmed/pkg v0.0.0

require (
	github.com/caarlos0/env/v11 v11.4.2 // indirect
	github.com/emersion/go-message v0.18.2 // indirect
	github.com/google/uuid v1.6.0 // indirect
	golang.org/x/text v0.43.0 // indirect
)

replace (
	github.com/healthmed/healthmed/pkg => ../../pkg
	github.com/healthmed/healthmed/pkg/events => ../../pkg/events
)
