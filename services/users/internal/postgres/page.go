package postgres

import "sync"

// doctorsKept is how many found doctors one generation of remembered pages holds, at about 300 bytes each.
const doctorsKept = 20_000

// page is what a search found, and the version of the list of doctors that it was read at or after.
type page struct {
	version int64
	found   []DoctorFound
}

// pages remembers what searches found. It is bounded by two generations: when the young one is full, it becomes the old
// one, and what was in the old one is forgotten.
type pages struct {
	mu         sync.Mutex
	young, old map[DoctorFilter]page
	kept       int // doctors on the young pages, and one for each page
}

func newPages() *pages {
	return &pages{young: make(map[DoctorFilter]page)}
}

func (p *pages) get(f DoctorFilter) (page, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if kept, ok := p.young[f]; ok {
		return kept, true
	}
	kept, ok := p.old[f]
	if ok {
		p.add(f, kept)
	}
	return kept, ok
}

func (p *pages) put(f DoctorFilter, fresh page) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.add(f, fresh)
}

func (p *pages) add(f DoctorFilter, fresh page) {
	if before, again := p.young[f]; again {
		p.kept -= 1 + len(before.found)
	}
	if p.kept > doctorsKept {
		p.old, p.young, p.kept = p.young, make(map[DoctorFilter]page), 0
	}
	p.young[f] = fresh
	p.kept += 1 + len(fresh.found)
}
