// Package backup tries deploy/backup: the databases are dumped, everything is lost, and the dumps bring it back.
package backup
