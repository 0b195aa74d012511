//! The volumizer component: root file systems out of images.
