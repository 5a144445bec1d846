// Package mail turns a notice into a message (text, HTML, calendar invitation; pure, nothing is sent) and sends it
// through Amazon SES.
package mail
