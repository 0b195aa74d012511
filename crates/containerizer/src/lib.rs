//! The containerizer component: containers out of kernel objects.
