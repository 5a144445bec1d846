// Package access says who may use the event server: it makes the keys of the services, and adds, lists and revokes
// partners, the other systems that subscribe to events. It is what the command healthmed-admin is made of.
//
// The permissions themselves are configuration: deploy/nats/accounts.conf. That file includes two from the folder auth
// beside it, which this package writes: keys.conf with the public keys of the services, and partners.conf with an account
// for each partner. Private keys (nkey seeds) are written to files of their own, and kept nowhere else.
package access
