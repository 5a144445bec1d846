// Package roles tries deploy/terraform/modules/database/roles.sh, which makes databases and roles on RDS, as a master
// user who is no superuser.
package roles
