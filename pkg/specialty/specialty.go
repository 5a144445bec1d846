// Package specialty is the one list of medical specialties: doctors have them, and patients search and wait for them.
package specialty

import (
	"errors"
	"slices"
)

// Specialty is one entry of the one list from which doctors' specialties come.
type Specialty struct {
	Code   string // stable, English, snake_case
	PT, EN string
}

// ErrUnknown says that a code is not in the list.
var ErrUnknown = errors.New("specialty: not in the list")

// Check says whether a code is in the list.
func Check(code string) error {
	if !slices.ContainsFunc(All(), func(s Specialty) bool { return s.Code == code }) {
		return ErrUnknown
	}
	return nil
}

// All are those that Brazil's Federal Council of Medicine recognises (Resolução CFM 2.330/2023), by code.
func All() []Specialty {
	return []Specialty{
		{"acupuncture", "Acupuntura", "Acupuncture"},
		{"allergy_immunology", "Alergia e imunologia", "Allergy and immunology"},
		{"anesthesiology", "Anestesiologia", "Anesthesiology"},
		{"angiology", "Angiologia", "Angiology"},
		{"cardiology", "Cardiologia", "Cardiology"},
		{"cardiovascular_surgery", "Cirurgia cardiovascular", "Cardiovascular surgery"},
		{"clinical_pathology", "Patologia clínica/medicina laboratorial", "Clinical pathology"},
		{"coloproctology", "Coloproctologia", "Coloproctology"},
		{"dermatology", "Dermatologia", "Dermatology"},
		{"digestive_surgery", "Cirurgia do aparelho digestivo", "Digestive surgery"},
		{"emergency_medicine", "Medicina de emergência", "Emergency medicine"},
		{"endocrinology", "Endocrinologia e metabologia", "Endocrinology"},
		{"endoscopy", "Endoscopia", "Endoscopy"},
		{"family_medicine", "Medicina de família e comunidade", "Family medicine"},
		{"gastroenterology", "Gastroenterologia", "Gastroenterology"},
		{"general_practice", "Clínica médica", "Internal medicine"},
		{"general_surgery", "Cirurgia geral", "General surgery"},
		{"geriatrics", "Geriatria", "Geriatrics"},
		{"gynecology_obstetrics", "Ginecologia e obstetrícia", "Gynecology and obstetrics"},
		{"hand_surgery", "Cirurgia da mão", "Hand surgery"},
		{"head_neck_surgery", "Cirurgia de cabeça e pescoço", "Head and neck surgery"},
		{"hematology", "Hematologia e hemoterapia", "Hematology"},
		{"homeopathy", "Homeopatia", "Homeopathy"},
		{"infectious_diseases", "Infectologia", "Infectious diseases"},
		{"intensive_care", "Medicina intensiva", "Intensive care medicine"},
		{"legal_medicine", "Medicina legal e perícia médica", "Forensic medicine"},
		{"mastology", "Mastologia", "Breast medicine"},
		{"medical_genetics", "Genética médica", "Medical genetics"},
		{"nephrology", "Nefrologia", "Nephrology"},
		{"neurology", "Neurologia", "Neurology"},
		{"neurosurgery", "Neurocirurgia", "Neurosurgery"},
		{"nuclear_medicine", "Medicina nuclear", "Nuclear medicine"},
		{"nutrology", "Nutrologia", "Nutrition medicine"},
		{"occupational_medicine", "Medicina do trabalho", "Occupational medicine"},
		{"oncology", "Oncologia clínica", "Oncology"},
		{"oncologic_surgery", "Cirurgia oncológica", "Surgical oncology"},
		{"ophthalmology", "Oftalmologia", "Ophthalmology"},
		{"orthopedics", "Ortopedia e traumatologia", "Orthopedics"},
		{"otorhinolaryngology", "Otorrinolaringologia", "Otorhinolaryngology"},
		{"pathology", "Patologia", "Pathology"},
		{"pediatric_surgery", "Cirurgia pediátrica", "Pediatric surgery"},
		{"pediatrics", "Pediatria", "Pediatrics"},
		{"physiatry", "Medicina física e reabilitação", "Physical medicine and rehabilitation"},
		{"plastic_surgery", "Cirurgia plástica", "Plastic surgery"},
		{"preventive_medicine", "Medicina preventiva e social", "Preventive medicine"},
		{"psychiatry", "Psiquiatria", "Psychiatry"},
		{"pulmonology", "Pneumologia", "Pulmonology"},
		{"radiology", "Radiologia e diagnóstico por imagem", "Radiology"},
		{"radiotherapy", "Radioterapia", "Radiotherapy"},
		{"rheumatology", "Reumatologia", "Rheumatology"},
		{"sports_medicine", "Medicina esportiva", "Sports medicine"},
		{"thoracic_surgery", "Cirurgia torácica", "Thoracic surgery"},
		{"traffic_medicine", "Medicina do tráfego", "Traffic medicine"},
		{"urology", "Urologia", "Urology"},
		{"vascular_surgery", "Cirurgia vascular", "Vascular surgery"},
	}
}
