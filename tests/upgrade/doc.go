// Package upgrade holds the migrations against those of the last release: two releases run side by side during a
// deployment, and the one before must be able to come back, so a release only adds to the schema. What the release before it
// no longer uses may then be dropped, and says so in released/contracts.txt.
//
// A release copies the migrations into released, and empties released/contracts.txt: make released.
package upgrade
